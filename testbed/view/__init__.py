"""The run view: one HTML file that plays a run's record in a browser."""
