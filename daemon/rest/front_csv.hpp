#pragma once
// Points of a front as lines of CSV (RFC 4180).  Pure functions; any thread.

#include <string>

#include "optimizers/core/space.hpp"

namespace paretod {

struct FrontPoint;
struct FrontQuery;
struct JobSpec;

/// Quoted where it has to be.
std::string csv_field(const std::string& text);
/// A column per parameter (per coefficient: "alpha[3]"), each with a comma before it.
std::string csv_parameter_names(const SearchSpace& space);
/// The cells of these columns; what the point lacks is empty.
std::string csv_parameters(const SearchSpace& space, const Point& point);

/// trial, a column per parameter (per coefficient: "alpha[3]"), two per objective: its value and
/// its standard error; then "replicates", "on_front" if the question has a confidence and "chosen"
/// if it chooses.  With the line's end.
std::string csv_header(const JobSpec& spec, const FrontQuery& query);

/// Without the columns of the question and without the line's end.  What a candidate lacks is
/// empty.
std::string csv_line(const FrontPoint& point, const JobSpec& spec);

}  // namespace paretod
