"""`fenzhang bench`: what the system does per second, beside a baseline and the ceilings, all in one run."""
