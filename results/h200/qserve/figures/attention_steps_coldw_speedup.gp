out = "attention_steps_coldw_speedup"
title = "decode attention in 4 bits, step by step, 1024 tokens (coldw)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 1 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "attention_steps_coldw_speedup.tsv"
xlabel = ""
ylabel = "speedup over kv4_naive, x"
reported = ""
names = ""
array legend[6] = ["KV4, + bit tricks", "KV4, + simpler control flow", "KV4, + FP16 QK", "KV4, + FP16 SV", "KV4 of QServe", "KV4, split sequence, tensor cores"]
n = 6
cases = 1
stacked = 0
longest = 0
width = 940
load "bars.gp"
