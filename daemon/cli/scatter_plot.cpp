#include "daemon/cli/scatter_plot.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "daemon/cli/format.hpp"

namespace paretod::cli {
namespace {

constexpr std::size_t least_columns = 10;

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void take_in(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  /// A single value is put in the middle.
  void open_up() {
    if (low < high) return;
    const double margin = low == 0 ? 0.5 : std::abs(low) / 2;
    low -= margin;
    high += margin;
  }
  [[nodiscard]] std::size_t cell(double value, std::size_t cells) const {
    // Halved first: the range of two finite numbers may not be finite.
    const double part = (value / 2 - low / 2) / (high / 2 - low / 2);
    const auto place = static_cast<std::size_t>(part * static_cast<double>(cells - 1) + 0.5);
    return std::min(place, cells - 1);
  }
};

}  // namespace

std::vector<std::string> scatter_plot(const std::vector<PlotPoint>& points,
                                      const std::string& x_label, const std::string& y_label,
                                      std::size_t width, std::size_t height) {
  Range x;
  Range y;
  for (const PlotPoint& point : points) {
    x.take_in(point.x);
    y.take_in(point.y);
  }
  if (points.empty() || height < 2) return {};
  x.open_up();
  y.open_up();
  const auto y_ends = format_column({Measured{y.high}, Measured{y.low}});
  const auto x_ends = format_column({Measured{x.low}, Measured{x.high}});
  const std::size_t margin = std::max(display_width(y_ends[0]), display_width(y_ends[1]));
  if (width < margin + 2 + least_columns) return {};
  const std::size_t columns = width - margin - 2;

  std::vector<std::vector<char>> cells(height, std::vector<char>(columns, ' '));
  for (const PlotPoint& point : points) {
    char& cell = cells[height - 1 - y.cell(point.y, height)][x.cell(point.x, columns)];
    if (point.marked) {
      cell = 'm';
    } else if (cell != 'm' && (!point.predicted || cell == ' ')) {
      cell = point.predicted ? 'o' : 'p';
    }
  }

  std::vector<std::string> lines;
  lines.push_back(std::string(margin + 1, ' ') + cut(y_label, columns + 1));
  for (std::size_t row = 0; row < height; ++row) {
    const bool top = row == 0;
    const bool bottom = row + 1 == height;
    std::string line = pad_left(top ? y_ends[0] : bottom ? y_ends[1] : "", margin);
    line += top || bottom ? " ┤" : " │";
    std::string blanks;
    for (const char cell : cells[row]) {
      if (cell == ' ') {
        blanks += ' ';
        continue;
      }
      line += blanks + (cell == 'm' ? "◆" : cell == 'o' ? "○" : "•");
      blanks.clear();
    }
    lines.push_back(std::move(line));
  }
  std::string axis = std::string(margin, ' ') + " └";
  for (std::size_t i = 0; i < columns; ++i) axis += i == 0 || i + 1 == columns ? "┬" : "─";
  lines.push_back(std::move(axis));

  const std::size_t ends = display_width(x_ends[0]) + display_width(x_ends[1]);
  std::string below = std::string(margin + 2, ' ') + x_ends[0];
  if (ends + 2 <= columns) {
    const std::size_t room = columns - ends;
    const std::string label = cut(x_label, room - 2);
    const std::size_t left = (room - display_width(label)) / 2;
    below += std::string(left, ' ') + label;
    below += std::string(room - left - display_width(label), ' ') + x_ends[1];
  }
  lines.push_back(std::move(below));
  return lines;
}

}  // namespace paretod::cli
