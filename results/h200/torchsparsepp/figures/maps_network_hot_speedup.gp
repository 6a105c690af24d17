out = "maps_network_hot_speedup"
title = "building all kernel maps of a network (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 8 cases, run dfe11e40-9566-435f-b7e0-c5312ca180d9"
in = "maps_network_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over published, x"
reported = ""
names = "maps scan task"
array legend[3] = ["hash on the fly", "octree, all levels from one sort", "bit grid with ranks"]
n = 3
cases = 8
stacked = 0
longest = 42
width = 940
load "bars.gp"
