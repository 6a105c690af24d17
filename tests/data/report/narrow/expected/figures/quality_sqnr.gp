out = "quality_sqnr"
title = "error of the quantiser"
caption = "NVIDIA X, driver 580.00, CUDA 13.0, profile reproduce, n = 2 cases, run 22222222-0000-4000-8000-000000000001"
in = "quality_sqnr.tsv"
xlabel = ""
ylabel = "figure"
reported = "reported, GPU not named"
names = ""
array legend[1] = ["quantise"]
n = 1
cases = 2
stacked = 0
longest = 0
width = 940
load "bars.gp"
