"""What runs in pods: workers that measure, search and refine, and report their results."""
