"""Alerts that become requests: notifications of Alertmanager and Grafana, and the rules that decide about them."""
