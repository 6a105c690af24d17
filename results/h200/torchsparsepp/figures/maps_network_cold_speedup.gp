out = "maps_network_cold_speedup"
title = "building all kernel maps of a network (cold)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce (custom), 2 invocations, n = 6 cases, run dfe11e40-9566-435f-b7e0-c5312ca180d9"
in = "maps_network_cold_speedup.tsv"
xlabel = ""
ylabel = "speedup over published, x"
reported = ""
names = "maps scan task"
array legend[3] = ["hash on the fly", "octree, all levels from one sort", "bit grid with ranks"]
n = 3
cases = 6
stacked = 0
longest = 38
width = 940
load "bars.gp"
