"""Launchers: where jobs run. One page of interface, one module per place."""
