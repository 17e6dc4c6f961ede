"""The loop: news into the cache, keys into the queue, observation, decision, action."""
