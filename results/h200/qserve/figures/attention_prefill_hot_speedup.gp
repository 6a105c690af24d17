out = "attention_prefill_hot_speedup"
title = "attention of prompts that fills the cache: in one kernel and in two (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 1 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "attention_prefill_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over kv16_prefill_apart, x"
reported = ""
names = ""
array legend[5] = ["prefill, KV4, one kernel", "prefill, KV4, two kernels", "prefill, KV8, one kernel", "prefill, KV8, two kernels", "prefill, KV16, one kernel"]
n = 5
cases = 1
stacked = 0
longest = 0
width = 940
load "bars.gp"
