out = "gemv_coldw_speedup"
title = "products with 4-bit weights (coldw)"
caption = "NVIDIA X, driver 580.00, CUDA 13.0, clock dynamic, cache coldw, regime steady, profile reproduce, 2 invocations, n = 3 cases, run 22222222-0000-4000-8000-000000000001"
in = "gemv_coldw_speedup.tsv"
xlabel = ""
ylabel = "speedup over base_f16, x"
reported = "reported, NVIDIA Z"
names = ""
array legend[2] = ["Fast W4", "Own | W4"]
n = 2
cases = 3
stacked = 0
longest = 0
width = 940
load "bars.gp"
