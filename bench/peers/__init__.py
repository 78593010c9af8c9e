"""The peers: how each is installed into the scratch folder, configured and started; `programs` is what runs in their interpreters."""
