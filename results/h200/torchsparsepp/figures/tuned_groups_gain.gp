out = "tuned_groups_gain"
title = "groups of layers by the tuner: first setting, its choice, the best of all settings"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, profile reproduce, n = 2 cases, run dfe11e40-9566-435f-b7e0-c5312ca180d9"
in = "tuned_groups_gain.tsv"
xlabel = ""
ylabel = "figure"
reported = ""
names = ""
array legend[10] = ["kernel 3 on level 0", "from level 0 and back", "kernel 3 on level 1", "from level 1 and back", "kernel 3 on level 2", "from level 2 and back", "kernel 3 on level 3", "from level 3 and back", "kernel 3 on level 4", "whole network"]
n = 10
cases = 2
stacked = 0
longest = 0
width = 940
load "bars.gp"
