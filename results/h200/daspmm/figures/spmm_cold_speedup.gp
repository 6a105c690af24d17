out = "spmm_cold_speedup"
title = "spmm: speedup (cold)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce, 3 invocations, n = 78 cases, run 8f0f2c1c-2c53-4826-97ab-13e46776e191"
in = "spmm_cold_speedup.tsv"
xlabel = "n"
ylabel = "speedup, geometric mean over cases, 95 %"
n = 7
logx = 2
logy = 0
band = 1
width = 1060
lowest = 0.833333333
highest = 307.2
ticks = "1 32 128"
array legend[7] = ["published8 over cusparse_best", "paper_rm over cusparse_rm_or_spmv", "paper_cm over cusparse_cm", "paper_rm over cusparse_authors_rm", "paper_rm over cusparse_default", "rb_sr_rm over cusparse_best", "daspmm_select_paper over cusparse_best"]
m = 2
array place[2] = [243.2, 243.2]
array value[2] = [1.26, 1.37]
array name[2] = ["reported 1.26 (GPU not named)", "reported 1.37 (GPU not named)"]
load "lines.gp"
