"""Reading and writing files: bounded readers, one atomic writer, and the file formats of splats and points."""
