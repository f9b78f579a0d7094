# Samples of an hour and a half up to a quarter of an hour from now on, every 15 s, one `series value time` a line, for whoever
# imports that: what lies ahead comes true while it is asked about. Variables: now; unit, how many of the time's units a second
# has; half, which of two servers that have half of a metric each.
function at(series, value, second) { printf "%s %s %.0f\n", series, value, second * unit }
BEGIN {
    from = now - 5400; to = now + 900
    for (t = from; t <= to; t += 15) at("load", t < now - 2700 ? 45 : t < now - 1200 ? 15 : 25, t)
    for (t = from; t <= now - 150; t += 15) at("old", 25, t)
    for (t = from; t <= to; t += 15) at("requests", 25 * (t - from), t)
    for (t = from; t <= to; t += 15) at("calm_total", t - from, t)
    for (t = now - 120; t <= to; t += 15) at("young_total", t - now + 120, t)
    split("a b c", shards)
    for (shard = 1; shard <= 3; shard++)
        for (t = from; t <= to; t += 15) at("several{shard=\"" shards[shard] "\"}", 5 * shard, t)
    for (t = from; t <= to; t += 15) at("part{half=\"" half "\"}", half == 1 ? 30 : 20, t)
    replicas = "scalekit_autoscaler_current_replicas{namespace=\"" namespace "\",name=\"%s\"}"
    for (t = from; t <= to; t += 15) at(sprintf(replicas, "value"), 2, t)
    for (t = from; t <= to; t += 15) at(sprintf(replicas, "windowed"), 5, t)
    print "# EOF"
}
