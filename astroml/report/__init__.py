"""The page of a run, and the summary in the terminal."""
