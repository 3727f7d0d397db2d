"""Every parser against bytes that nobody wrote on purpose."""
