"""Facts and messages become memories, and memories become answers."""
