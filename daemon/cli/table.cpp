#include "daemon/cli/table.hpp"

#include <algorithm>
#include <utility>

#include "daemon/cli/format.hpp"

namespace paretod::cli {
namespace {

constexpr std::size_t gap = 2;
constexpr std::size_t least_last_column = 12;

}  // namespace

void Table::add_column(std::string title, std::vector<std::string> cells, Align align) {
  columns_.push_back({std::move(title), std::move(cells), align});
}

std::vector<std::string> Table::lines(std::size_t width) const {
  std::size_t rows = 0;
  std::vector<std::size_t> widths;
  std::size_t before_last = 0;
  for (const Column& column : columns_) {
    rows = std::max(rows, column.cells.size());
    std::size_t widest = display_width(column.title);
    for (const std::string& cell : column.cells) widest = std::max(widest, display_width(cell));
    if (!widths.empty()) before_last += widths.back() + gap;
    widths.push_back(widest);
  }
  if (width > 0 && !widths.empty() && before_last + widths.back() > width) {
    const std::size_t room = std::max(least_last_column, width - std::min(width, before_last));
    widths.back() = std::min(widths.back(), room);
  }

  const auto line = [&](auto&& cell_of) {
    std::string out;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (i > 0) out.append(gap, ' ');
      std::string cell = cut(cell_of(columns_[i]), widths[i]);
      out += columns_[i].align == Align::right ? pad_left(std::move(cell), widths[i])
                                               : pad_right(std::move(cell), widths[i]);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    return out;
  };

  std::vector<std::string> out;
  out.push_back(line([](const Column& column) { return column.title; }));
  std::string rule;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    if (i > 0) rule.append(gap, ' ');
    for (std::size_t k = 0; k < widths[i]; ++k) rule += "─";
  }
  out.push_back(std::move(rule));
  for (std::size_t row = 0; row < rows; ++row) {
    out.push_back(line([row](const Column& column) {
      return row < column.cells.size() ? column.cells[row] : std::string();
    }));
  }
  return out;
}

}  // namespace paretod::cli
