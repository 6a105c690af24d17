# lines.gp - one line per series over a size.
#
#   in      .tsv: x, then for each series value, low, high, min, max
#   n       series; legend[n]: their names
#   xlabel, ylabel, title, caption
#   logx    base of the axis of x, 0: linear;  logy: 1 or 0
#   one     0: no line at 1, where neither is faster
#   band    series whose range over the cases is shaded, 0: none
#   m       reported values; place[m]: x, value[m], name[m]: drawn hollow
load "style.gp"
set label 1 caption at screen 0.01, 10.0 / height left font ",8" tc rgb "#606060" noenhanced
set bmargin 5.5
set title folded(title) font ",13" noenhanced
set xlabel xlabel noenhanced
set ylabel ylabel noenhanced
set key outside right top vertical width 1 samplen 2
if (logx) { set logscale x logx }
if (logy) { set logscale y; set grid mytics } else { set yrange [0:*] }
set xtics ()
do for [i = 1:words(ticks)] { set xtics add (word(ticks, i) real(word(ticks, i))) }
set xrange [lowest:highest]
if (!exists("one")) { one = 1 }
if (one) { set arrow 1 from graph 0, first 1 to graph 1, first 1 nohead lc rgb "#404040" dt 2 lw 1 }
column5(i, k) = 2 + 5 * (i - 1) + k
do for [i = 1:m] {
    set label 10 + i at place[i], value[i] "" point pt 6 ps 1.2 lw 1.5 lc rgb "#000000"
}
of(i, k) = column(column5(i, k))
plot for [i = band:band] in every ::1 \
         using 1:(i ? of(i, 3) : NaN):(i ? of(i, 4) : NaN) \
         with filledcurves fc rgb tint(1) fs transparent solid 0.12 noborder notitle, \
     for [i = 1:n] in every ::1 using 1:(of(i, 0)) with lines lw 2 lc rgb tint(i) notitle, \
     for [i = 1:n] in every ::1 using 1:(of(i, 1)):(0):(of(i, 2) - of(i, 1)) \
         with vectors nohead lw 3 lc rgb tint(i) notitle, \
     for [i = 1:n] in every ::1 using 1:(of(i, 0)) \
         with points pt 7 ps 0.6 lc rgb tint(i) notitle, \
     for [i = 1:n] keyentry with linespoints pt 7 ps 0.6 lw 2 lc rgb tint(i) title legend[i], \
     for [i = (band ? 1 : 2):1] keyentry \
         with boxes fc rgb tint(1) fs transparent solid 0.12 noborder \
         title "range of cases, first line", \
     for [i = 1:m] keyentry with points pt 6 ps 1.2 lw 1.5 lc rgb "#000000" title name[i]
