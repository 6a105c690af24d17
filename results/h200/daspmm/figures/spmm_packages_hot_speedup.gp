out = "spmm_packages_hot_speedup"
title = "spmm_packages: speedup (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 90 cases, run 8f0f2c1c-2c53-4826-97ab-13e46776e191"
in = "spmm_packages_hot_speedup.tsv"
xlabel = "n"
ylabel = "speedup, geometric mean over cases, 95 %"
n = 7
logx = 2
logy = 1
band = 1
width = 1060
lowest = 0.833333333
highest = 614.4
ticks = "1 2 4 8 16 32 64 128 256"
array legend[7] = ["published8 over cusparse_best", "paper_rm over cusparse_rm_or_spmv", "paper_cm over cusparse_cm", "paper_rm over cusparse_authors_rm", "paper_rm over cusparse_default", "rb_sr_rm over cusparse_best", "daspmm_select_paper over cusparse_best"]
m = 0
array place[1] = [486.4]
array value[1] = [0]
array name[1] = [""]
load "lines.gp"
