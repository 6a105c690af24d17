out = "training_curve"
title = "loss of the project's model while it was trained"
caption = "host, profile reproduce, n = 1 cases, run 0a321bfd-e264-4777-a7db-6220b8de5c82"
in = "training_curve.tsv"
xlabel = "million tokens"
ylabel = "loss, nats per token"
n = 2
logx = 0
logy = 0
one = 0
band = 0
width = 940
lowest = 0
highest = 302.82
ticks = "0 50 100 150 200 250 300"
m = 0
array place[1] = [0]
array value[1] = [0]
array legend[2] = ["held-out text", "text trained on"]
array name[1] = [""]
load "lines.gp"
