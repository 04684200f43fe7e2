#pragma once
// What a search found, as lines of text: candidates, the front, trials.  Pure
// functions from the daemon's JSON; what is absent is left out.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "daemon/cli/format.hpp"
#include "daemon/cli/json_view.hpp"

namespace paretod::cli {

using Lines = std::vector<std::string>;

/// How a page is to look.
struct Page {
  std::size_t width = 0;  ///< columns; 0 is as wide as needed
  bool picture = false;   ///< draw a front of two objectives
};

/// {"<key>":0.41,"stderr":0.005}; nothing when there is no number under `key`.
std::optional<Measured> measured_at(const Json& estimate, std::string_view key);

/// "lr=0.003 layers=4", long vectors as "42 coefficients, -0.33..0.57".
std::string candidate_text(const Json& candidate);

/// Of a reply's "objectives".
std::vector<std::string> names_of(const Json& objectives);
bool maximised(const Json& objectives, std::string_view name);
/// `right` beside `left`, line by line.
Lines beside(const Lines& left, const Lines& right);
/// Of a plot beside a table, and the least room for that table.
inline constexpr std::size_t plot_width = 44;
inline constexpr std::size_t plot_gap = 3;
inline constexpr std::size_t least_table_beside_plot = 56;
inline constexpr std::size_t plot_height = 14;

/// A reply of /front: the chosen point and why, if there is one; a table of at most `limit` points,
/// spread evenly over the front (0: all), and for two objectives the picture, beside the table
/// where there is room.
Lines front_view(const Json& front, std::size_t limit, const Page& page);

/// Items of /trials.
Lines trials_view(const Json& trials, const Page& page);

}  // namespace paretod::cli
