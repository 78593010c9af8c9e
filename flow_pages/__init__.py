"""The customer's side: the hand-off, the hosted flow and the portal."""
