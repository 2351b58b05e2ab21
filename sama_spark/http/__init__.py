"""HTTP, as every vendor's API needs it. Knows no vendor, and imports no Spark.

A call meets these modules in this order:

- `call`: one call, as data.
- `dialect`: what differs between vendors: where the key goes, what an error reply means.
- `transport`: sends a call, and repeats it where that is safe, until its deadline.
- `retry`: whether to repeat, and after how long; clocks; `Pacer`: at most one call a second and key,
  of the calls that are marked `paced`.
- `turns`: how many calls of one reader run at once.
- `attempts`: one try: the reply becomes a value or an error.
- `wire`: one exchange: a request goes out, a reply of bounded size comes back.
- `proxies`: the proxy for a URL.
- `connections`: connections that are cut at the deadline.
- `failures`: why no reply has arrived.
- `error_pages`: error replies of stores and proxies, which the API has not written.
- `call_errors`: the kinds of errors of a call.
- `secrets`: how keys and signed URLs stay out of texts.
"""
