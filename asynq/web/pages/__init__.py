"""The pages: each asks endpoints of the API, and renders a template."""
