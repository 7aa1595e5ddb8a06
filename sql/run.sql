-- The runs of jobs.

