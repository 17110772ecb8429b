"""Side-by-side benchmarks: each module has a NAME and `async def run(options) -> list[Row]`."""
