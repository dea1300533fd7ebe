"""The whole system on one machine: node, API, submission and mirror as child processes of one supervisor."""
