"""What a process tells about itself: metrics, logs, and the id that follows a request through all of them."""
