out = "qserve_accuracy_error"
title = "error of the output, step by step, on layers with outlier channels"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, profile reproduce, n = 2 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "qserve_accuracy_error.tsv"
xlabel = ""
ylabel = "figure"
reported = ""
names = ""
array legend[14] = ["W8A8", "W4A16, groups", "W4A8 per channel", "the same, rotated", "the same, rotated, clipped", "the same in groups", "the same in groups, reordered", "W4A8 per group", "W4A8 per group, reordered", "W4A8 per group, range not protected", "W4A4 per group", "W4A4 per group, reordered", "W4A4 per channel", "W4A4 per channel, rotated"]
n = 14
cases = 2
stacked = 0
longest = 0
width = 1200
load "bars.gp"
