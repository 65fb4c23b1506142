"""Reports of several studies: a joint page, and an index of reports."""
