out = "spmm_packages_hot_wins"
title = "spmm_packages (hot): share of cases won, among published8"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 90 cases, run 8f0f2c1c-2c53-4826-97ab-13e46776e191"
xlabel = "n"
array panel[1] = ["spmm_packages_hot_wins.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 8
ylabel = "share of cases won"
array legend[8] = ["rb_sr_rm", "rb_pr_rm", "eb_sr_rm", "eb_pr_rm", "rb_sr_cm", "rb_pr_cm", "eb_sr_cm", "eb_pr_cm"]
stacked = 1
width = 940
height = 440
load "bars.gp"
