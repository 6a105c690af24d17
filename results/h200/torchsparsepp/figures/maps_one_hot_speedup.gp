out = "maps_one_hot_speedup"
title = "building one kernel map (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 20 cases, run dfe11e40-9566-435f-b7e0-c5312ca180d9"
in = "maps_one_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over published, x"
reported = ""
names = "maps scan task"
array legend[4] = ["hash on the fly", "sorted keys, one search a column", "octree, all levels from one sort", "bit grid with ranks"]
n = 4
cases = 20
stacked = 0
longest = 40
width = 1200
load "bars.gp"
