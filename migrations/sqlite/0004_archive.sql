-- Nothing, for the same numbers as migrations/postgres: entries are never moved here, since appending to the file does not
-- get slower as it grows.
SELECT 1;
