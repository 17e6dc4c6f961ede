"""The loop: news into the cache, keys into the queue, snapshot, decision, action."""
