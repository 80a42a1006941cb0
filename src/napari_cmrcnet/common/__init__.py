"""What every room may use: the one user error, progress of long jobs, files written whole or not at all."""
