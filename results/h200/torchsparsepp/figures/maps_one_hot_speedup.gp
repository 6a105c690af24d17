out = "maps_one_hot_speedup"
title = "building one kernel map (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 20 cases, run 4126c8af-686a-4e76-aeee-1d14a3a159d6"
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
