# bars.gp - groups of bars, or stacked bars in panels side by side.
#
# Groups (stacked = 0): in: label, then for each series value, low, high, reported;
#   an interval on every bar, a hollow marker for the reported value, a line at 1.
# Stacked (stacked = 1): panel[panels]: files with label and one share per series;
#   heading[panels]: their titles.
#   n, legend[n], title, ylabel, xlabel, caption as in lines.gp; longest: letters of the longest
#   label where labels slant, else 0; names: what the parts of such a label are
if (!exists("longest")) longest = 0
drop = 3.7 * longest # pixels that a slanting label needs below the axis
height = 440 + (drop > 40 ? drop : 40)
load "style.gp"
set label 1 caption at screen 0.01, 10.0 / height left font ",8" tc rgb "#606060" noenhanced
set style fill solid 0.85 border lc rgb "#ffffff"
set yrange [0:*]
set xlabel xlabel noenhanced
if (stacked) {
    set multiplot layout 1, panels title title font ",13" noenhanced \
        margins 80.0 / width, 1 - 170.0 / width, 0.19, 0.84 spacing 0.015, 0.05
    set yrange [0:1]
    set boxwidth 0.85
    set style data histograms
    set style histogram rowstacked
    unset key
    do for [p = 1:panels] {
        set title heading[p] font ",11" noenhanced
        if (p == 1) { set ylabel ylabel noenhanced }
        if (p > 1) { unset ylabel; set format y ""; unset label 1 }
        if (p == panels) {
            set key at screen 0.99, screen 0.85 right top vertical samplen 1 invert maxrows 30 \
                font ",9"
        }
        plot for [i = 1:n] panel[p] every ::1 using i + 1:xticlabels(1) lc rgb tint(i) \
                 title (p == panels ? legend[i] : "")
    }
    unset multiplot
} else {
    set title folded(title) font ",13" noenhanced
    set ylabel ylabel noenhanced
    set key outside right top vertical samplen 1
    set bmargin 5.5 + drop / 16
    if (longest) {
        set xtics rotate by -40 left font ",8" noenhanced
        set label 2 "labels: ".names at screen 0.01, 24.0 / height left font ",8" noenhanced
    }
    set offsets 0, 0, graph 0.04, 0
    room = 0.84 / n
    at(i) = (i - 0.5) * room - 0.42
    set boxwidth room * 0.92
    set xrange [-0.6:cases - 0.4]
    of(i, k) = column(2 + 4 * (i - 1) + k)
    plot 1 noautoscale with lines lc rgb "#404040" dt 2 lw 1 notitle, \
         for [i = 1:n] in every ::1 using ($0 + at(i)):(of(i, 0)):(room * 0.92) \
             with boxes lc rgb tint(i) notitle, \
         for [i = 1:n] in every ::1 \
             using ($0 + at(i)):(of(i, 1)):(0):(of(i, 2) - of(i, 1)) \
             with vectors heads size screen 0.003, 90 lw 1.5 lc rgb "#202020" notitle, \
         in every ::1 using 0:(NaN):xticlabels(1) with points notitle, \
         for [i = 1:n] in every ::1 using ($0 + at(i)):(of(i, 3)) \
             with points pt 6 ps 0.9 lw 1.4 lc rgb "#000000" notitle, \
         for [i = 1:n] keyentry with boxes lc rgb tint(i) title legend[i], \
         for [i = 1:(strlen(reported) ? 1 : 0)] keyentry \
             with points pt 6 ps 0.9 lw 1.4 lc rgb "#000000" title reported
}
