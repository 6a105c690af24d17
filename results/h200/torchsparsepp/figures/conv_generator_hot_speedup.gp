out = "conv_generator_hot_speedup"
title = "what each step of the kernel generator is worth, at one range of taps (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 5 cases, run dfe11e40-9566-435f-b7e0-c5312ca180d9"
in = "conv_generator_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over implicit_s1, x"
reported = ""
names = "cin cout stride"
array legend[6] = ["no hoisting", "no padding", "one tile", "two stages", "four stages", "own S=1"]
n = 6
cases = 5
stacked = 0
longest = 10
width = 1200
load "bars.gp"
