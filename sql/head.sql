\echo Use "CREATE EXTENSION evsched" to load this file. \quit

