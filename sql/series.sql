-- Series.

