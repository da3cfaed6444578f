"""Published corpora as lists that this project reads: fetched, checked, unpacked and indexed."""
