"""An hour of traffic on a virtual clock: the real plan, health, breaker and memo against modelled
providers, beside simple ways to choose and the best that hindsight could do."""
