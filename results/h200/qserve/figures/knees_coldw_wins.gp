out = "knees_coldw_wins"
title = "knees (coldw): share of cases won, among own"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 8 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
xlabel = "m"
array panel[1] = ["knees_coldw_wins.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 6
ylabel = "share of cases won"
array legend[6] = ["w4a8_channel_own", "w4a8_group_own", "w4a8_channel_few", "w4a8_group_few", "w4a8_channel_portable", "w4a8_group_portable"]
stacked = 1
width = 940
height = 440
load "bars.gp"
