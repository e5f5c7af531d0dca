"""The paper's method, and what may take its place: views of a crop, and denoisers, one file each."""
