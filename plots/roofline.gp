# roofline.gp - rate over operations per byte, under the measured ceilings.
#
#   in   .tsv: series (1 .. n), operations per byte, GFLOP/s
#   n, legend[n], title, caption
#   c    ceilings; slope[c]: GB/s, 0: flat; flat[c]: GFLOP/s; roof[c]: names
load "style.gp"
set label 1 caption at screen 0.01, 10.0 / height left font ",8" tc rgb "#606060" noenhanced
set bmargin 5.5
set title folded(title) font ",13" noenhanced
set xlabel "operations per byte of every operand once" noenhanced
set ylabel "GFLOP/s" noenhanced
set logscale xy
set grid xtics ytics lc rgb "#e0e0e0" lw 0.7
set key outside right top vertical samplen 1.5
set xrange [lowest:highest]
set xtics ()
do for [d = floor(log10(lowest)):ceil(log10(highest))] {
    do for [step in "1 2 5"] {
        at = step * 10.0**d
        set xtics add (sprintf("%g", at) at)
    }
}
set format y "%g"
set samples 400
top = 0
do for [k = 1:c] { top = flat[k] > top ? flat[k] : top }
under(y) = top > 0 && y > top ? NaN : y # memory bounds nothing above the highest arithmetic rate
dash(k) = int(k - 1) % 5 + 1 # a pattern in brackets would be one of lengths
grey(k) = slope[k] > 0 ? "#404040" : "#8a5a00"
plot for [k = 1:c] (slope[k] > 0 ? under(slope[k] * x) : flat[k]) \
         with lines lw 1.5 dt dash(k) lc rgb grey(k) title roof[k], \
     for [i = 1:n] in every ::1 using (column(1) == i ? column(2) : NaN):3 with points pt 6 ps 0.8 \
         lc rgb tint(i) notitle, \
     for [i = 1:n] keyentry with points pt 7 ps 0.9 lc rgb tint(i) title legend[i]
