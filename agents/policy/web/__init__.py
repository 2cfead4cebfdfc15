"""The administrator's pages: what the HTTP API does, in a browser.

Every page reads the store and calls the operations of agents.policy.api; it decides nothing itself.
"""
