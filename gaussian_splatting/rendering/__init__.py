"""What is made from trained Gaussians: views with metrics, films, camera paths and the pictures as files."""
