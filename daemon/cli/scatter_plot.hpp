#pragma once
// A small scatter plot in characters, for a front of two objectives.  A pure function.

#include <cstddef>
#include <string>
#include <vector>

namespace paretod::cli {

struct PlotPoint {
  double x = 0;
  double y = 0;
  bool marked = false;     ///< drawn as "◆", over the others' "•"
  bool predicted = false;  ///< drawn as "○", under them
};

/// Lines of at most `width` columns: `height` rows between the axes (at least 2), the y label
/// above, the range of y at the left, the range of x and its label below.  Nothing when there are
/// no points or no room.
std::vector<std::string> scatter_plot(const std::vector<PlotPoint>& points,
                                      const std::string& x_label, const std::string& y_label,
                                      std::size_t width, std::size_t height);

}  // namespace paretod::cli
