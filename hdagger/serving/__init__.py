"""The page and REST: uploads become jobs, which are restored one after the other."""
