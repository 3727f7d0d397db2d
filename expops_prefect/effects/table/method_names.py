"""Names of methods of Python's own types, arrays, frames and estimators: on an object of a type that is not known."""

HARMLESS = frozenset(
    """
    ArtistList T abs absolute acorr acquire acquire_lock add addFilter addHandler add_artist add_axes
    add_axobserver add_business_days add_callback add_categories add_child_axes add_collection add_column
    add_container add_done_callback add_edge add_edges_from add_gridspec add_image add_line add_metadata
    add_node add_nodes_from add_patch add_prefix add_subfigure add_subplot add_suffix add_table adjusted agg
    aggregate aic alias align align_labels align_titles align_xlabels align_ylabels all anchor and_
    angle_spectrum annotate any append append_column appendleft apply apply_aspect apply_async approx_n_unique
    approx_quantile arccos arccosh arcsin arcsinh arctan arctanh arg_max arg_min arg_sort arg_true arg_unique
    argmax argmin argpartition argsort arr array arrow artists as_completed as_integer_ratio as_ordered as_posix
    as_tuple as_unit as_unordered as_uri asfreq asi8 asm8 asof asof_locs assign astimezone astype at at_time
    attrs autocorr autofmt_xdate autoscale autoscale_view axes axhline axhspan axis axline axvline axvspan
    backward backward_fill bar bar_label barbs barh base base_utc_offset beta between between_time bfill bic bin
    bin_intervals bin_quantiles bin_ranks binomial bit_count bit_generator bit_length bitwise_and
    bitwise_count_ones bitwise_count_zeros bitwise_leading_ones bitwise_leading_zeros bitwise_or
    bitwise_trailing_ones bitwise_trailing_zeros bitwise_xor block_size bottom_k bottom_k_by boxplot
    braceidpattern broken_barh buffers bxp bytes bytes_le byteswap c_contiguous cache callHandlers can_pan
    can_zoom cancel cancelled cancelling canonical capitalize case_when casefold cast cast_time_unit cat
    categories cbrt cdf ceil center century check_for_ordered chisquare chmod choice choose chunk chunk_lengths
    chunks cla clabel clear clf clip clock_seq clock_seq_hi_variant clock_seq_low clone close closed codes
    cohere collect collect_async collect_batches collect_schema collections colorbar column column_names columns
    combine combine_chunks combine_first compare compare_signal compare_total compare_total_mag components
    compress concat conf_int conj conjugate contains contains_any contains_point contiguous contour contourf
    convert convert_dtypes convert_objects convert_time_zone convert_xunits convert_yunits copy copy_abs
    copy_negate copy_sign copy_to corr corrwith cos cosh cot count count_matches cov cpu critical crop csd ctime
    ctypes cuda cum_count cum_max cum_min cum_prod cum_sum cumcount cummax cummin cumprod cumsum cumulative_eval
    cut cwd daemon data date day day_name day_of_week day_of_year dayofweek dayofyear days days_in_month
    daysinmonth debug decision_function decode default_factory degree degrees delaxes delete delimiter
    denominator describe deserialize detach device device_type diagonal dialect dict dictionary_encode diff
    difference difference_update digest digest_size dirichlet discard div divide divmod done dot dpi drag_pan
    draw draw_artist draw_without_rendering drive drop drop_columns drop_duplicates drop_in_place drop_nans
    drop_null drop_nulls droplevel dropna dst dst_offset dt dtype dtypes dump dumps duplicated ecdf edges
    elements empty empty_table encode encoding end end_pan endpos ends_with endswith entropy epoch eq eq_missing
    equal_levels equals erf erfc error errorbar errors escape_regex estimated_size eval evalf eventplot ewm
    ewm_mean ewm_mean_by ewm_std ewm_sum ewm_sum_by ewm_var exception exclude exclusions exists exp expand
    expanding expandtabs expanduser explain explode exponential ext extend extend_constant extendleft extract
    extract_all extract_groups extract_many f f_contiguous factor factorize fatal feature_importances_ ffill
    field field_by_name fields figimage figure fileno fill fill_between fill_betweenx fill_nan fill_null fillna
    filter find findCaller find_all find_many findall finditer findobj findtext first first_valid_index fit
    fit_predict fit_transform fittedvalues flags flat flatten floor floordiv flush fma fold forecast format
    format_coord format_cursor_data format_map format_xdata format_ydata forward forward_fill frameon freq
    freqstr from_arrays from_arrow from_batches from_buffers from_bytes from_codes from_decimal from_dict
    from_dlpack from_float from_frame from_lazyframe_resolver from_pandas from_product from_pydict from_pylist
    from_records from_struct_array from_tuples frombytes fromhex fromisocalendar fromisoformat fromkeys
    fromordinal fromtimestamp full fullmatch gamma gather gather_every gca ge geometric get getChild
    getEffectiveLevel getName get_adjustable get_agg_filter get_all_field_indices get_alpha get_anchor
    get_animated get_aspect get_autoscale_on get_autoscalex_on get_autoscaley_on get_axes get_axes_locator
    get_axisbelow get_box_aspect get_children get_chunks get_clip_box get_clip_on get_clip_path get_column
    get_column_index get_columns get_constrained_layout get_constrained_layout_pads get_coro get_cursor_data
    get_data_ratio get_default_bbox_extra_artists get_dpi get_dummies get_edgecolor get_facecolor get_fc
    get_feature_names_out get_field_index get_figheight get_figure get_figwidth get_forward_navigation_events
    get_frame_on get_frameon get_gid get_gridspec get_group get_identifiers get_images get_in_layout get_indexer
    get_indexer_for get_indexer_non_unique get_label get_layout_engine get_legend get_legend_handles_labels
    get_level_values get_lines get_linewidth get_loc get_loc_level get_locs get_loop get_metadata_routing
    get_mouseover get_name get_navigate get_navigate_mode get_nowait get_params get_path_effects get_picker
    get_position get_prediction get_rasterization_zorder get_rasterized get_shared_x_axes get_shared_y_axes
    get_size_inches get_sketch_params get_slice_bound get_snap get_stack get_state get_subplotspec get_support
    get_suptitle get_supxlabel get_supylabel get_text get_tight_layout get_tightbbox get_title
    get_total_buffer_size get_transform get_transformed_clip_path_and_affine get_url get_visible
    get_window_extent get_xaxis get_xaxis_text1_transform get_xaxis_text2_transform get_xaxis_transform
    get_xbound get_xgridlines get_xinverted get_xlabel get_xlim get_xmajorticklabels get_xmargin
    get_xminorticklabels get_xscale get_xticklabels get_xticklines get_xticks get_yaxis
    get_yaxis_text1_transform get_yaxis_text2_transform get_yaxis_transform get_ybound get_ygridlines
    get_yinverted get_ylabel get_ylim get_ymajorticklabels get_ymargin get_yminorticklabels get_yscale
    get_yticklabels get_yticklines get_yticks get_zorder getbuffer getdata getfield getpixel getroot getvalue
    ginput glimpse glob grid group group_by group_by_dynamic groupby groupdict grouped_bar groupindex groups gt
    gumbel handle hasHandlers has_data has_duplicates has_nulls hash hash_rows hasnans have_units having head
    height hex hexbin hexdigest hist hist2d histogram hlines home hour hstack hypergeometric iat ident identical
    idpattern idxmax idxmin iloc imag images imap imap_unordered implode imshow in_axes index index_of
    indexer_at_time indexer_between_time indicate_inset indicate_inset_zoom indices infer_objects inferred_freq
    inferred_type info insert insert_column inset_axes inspect int integers integrate interpolate interpolate_by
    intersection intersection_update interval inverse_transform invert_xaxis invert_yaxis isDaemon isEnabledFor
    isSet is_ is_absolute is_alive is_between is_block_device is_business_day is_canonical is_char_device
    is_close is_cpu is_dir is_duplicated is_empty is_fifo is_file is_finite is_first_distinct is_in is_infinite
    is_integer is_last_distinct is_leap_year is_monotonic_decreasing is_monotonic_increasing is_month_end
    is_month_start is_mount is_nan is_normal is_normalized is_not_nan is_not_null is_null is_qnan is_quarter_end
    is_quarter_start is_relative_to is_reserved is_safe is_set is_signed is_snan is_socket is_sorted
    is_subnormal is_symlink is_transform_set is_unique is_valid is_year_end is_year_start is_zero isalnum
    isalpha isascii isatty isdecimal isdigit isdisjoint isetitem isidentifier isin islower isna isnull isnumeric
    iso_year isocalendar isoformat isoweekday isprintable isspace issubset issuperset istitle isupper item items
    itemsize iter_columns iter_rows iter_slices iterchunks itercolumns iterdir iterfind iterrows itertext
    itertuples join join_asof join_where joinpath json json_decode json_path_match keys kneighbors kurt kurtosis
    label_outer lambdify laplace last last_valid_index lastgroup lastindex lazy lchmod le legend len len_bytes
    len_chars length level levels levshape limit limit_denominator line_buffering lines link_to list ljust ln
    loc locator_params locked locked_lock log log10 log1p logb logical_and logical_invert logical_or logical_xor
    logistic loglog lognormal logpdf logpmf logseries lower lower_bound lstat lstrip lt mT magnitude_spectrum
    makeRecord maketrans manager map map_batches map_columns map_elements map_groups map_rows margins mask match
    match_to_schema matshow max max_by max_horizontal max_mag maxlen mean mean_horizontal median melt
    memory_usage merge merge_sorted meta metadata microsecond microseconds millennium millisecond min min_by
    min_horizontal min_mag minorticks_off minorticks_on minute mod mode model_construct model_copy model_dump
    model_dump_json model_validate model_validate_json month month_end month_name month_start most_common
    mouseover move_to_end mul multinomial multiply multivariate_hypergeometric multivariate_normal n_chunks
    n_unique name named_parameters named_steps names nan_max nan_min nanosecond nanoseconds native_id nbytes
    ndim ne ne_missing nearest neg negative_binomial neighbors new_child new_from_index newlines next_minus
    next_plus next_toward ngroup ngroups nlargest nlevels node nodes noncentral_chisquare noncentral_f nonzero
    normal normalize not_ notify notifyAll notify_all notna notnull now nsmallest nth null_count num_chunks
    num_columns num_rows number number_class numerator numpy nunique obj offset offset_by ohlc online open or_
    ordered ordinal_day over owner pad pad_end pad_start pandas_metadata parameters params parent parents pareto
    parse_obj partial_fit partition partition_by parts paste patches pattern pchanged pcolor pcolorfast
    pcolormesh pct_change pdf peak_max peak_min permutation permute permuted phase_spectrum pick pickable pie
    pie_label pipe pipe_with_dtype pipe_with_schema pivot pivot_table plot pmf poisson pop popitem popleft pos
    pow power ppf predecessors predict predict_log_proba predict_proba print_stack prod product properties psd
    put put_nowait putmask putpixel pvalues qcut qsize quantile quantize quarter query quiver quiverkey radd
    radians radix rand randint randn random random_integers random_sample rank ravel rayleigh rdiv rdivmod re
    read read1 read_bytes read_text readable readinto readinto1 readline readlines readlink readonly real
    rechunk redraw_in_frame regs reindex reindex_like reinterpret relative_to release release_lock relim relu
    remainder_near remote remove removeFilter removeHandler remove_callback remove_categories remove_column
    remove_done_callback remove_metadata remove_unused_categories remove_unused_levels removeprefix removesuffix
    rename rename_axis rename_categories rename_columns render reorder_categories reorder_levels repeat
    repeat_by replace replace_all replace_column replace_many replace_schema_metadata replace_strict
    replace_time_zone requires_grad_ resample reset_index reset_position reshape resid resize resolution
    resolution_string resolve result results reverse rfind rfloordiv rglob rindex rjust rle rle_id rmod rmul
    rolling rolling_kurtosis rolling_map rolling_max rolling_max_by rolling_mean rolling_mean_by rolling_median
    rolling_median_by rolling_min rolling_min_by rolling_quantile rolling_quantile_by rolling_rank
    rolling_rank_by rolling_skew rolling_std rolling_std_by rolling_sum rolling_sum_by rolling_var
    rolling_var_by root rotate round round_sig_figs row rows rows_by_key rpartition rpow rsplit rsquared rstrip
    rsub rtruediv run running rvs safe_substitute same_quantum samefile sample sca scaleb scanner scatter schema
    score score_samples search search_sorted searchsorted second secondary_xaxis secondary_yaxis seconds seed
    seek seekable select select_dtypes select_one select_seq sem semilogx semilogy serialize set setDaemon
    setLevel setName set_adjustable set_agg_filter set_alpha set_anchor set_animated set_aspect set_autoscale_on
    set_autoscalex_on set_autoscaley_on set_axes_locator set_axis set_axis_off set_axis_on set_axisbelow
    set_box_aspect set_canvas set_categories set_clip_box set_clip_on set_clip_path set_codes set_column
    set_constrained_layout set_constrained_layout_pads set_difference set_dpi set_edgecolor set_exception
    set_facecolor set_fc set_figheight set_figure set_figwidth set_flags set_forward_navigation_events
    set_frame_on set_frameon set_gid set_in_layout set_index set_intersection set_label set_layout_engine
    set_levels set_linewidth set_mouseover set_name set_names set_navigate set_navigate_mode set_ordered
    set_params set_path_effects set_picker set_position set_prop_cycle set_rasterization_zorder set_rasterized
    set_result set_running_or_notify_cancel set_size_inches set_sketch_params set_snap set_sorted set_state
    set_subplotspec set_symmetric_difference set_tight_layout set_title set_transform set_union set_url
    set_visible set_xbound set_xinverted set_xlabel set_xlim set_xmargin set_xscale set_xticklabels set_xticks
    set_ybound set_yinverted set_ylabel set_ylim set_ymargin set_yscale set_yticklabels set_yticks set_zorder
    setdefault setfield setflags sf shape sharex sharey shift show show_graph shrink_dtype shrink_to_fit shuffle
    shutdown sigmoid sign simplify sin sinh size skew slice slice_indexer slice_locs slice_replace snap softmax
    sort sort_by sort_index sort_values sortlevel span sparse spawn specgram split split_exact splitlines splitn
    spy sql sqrt squeeze stack stackplot stairs stale standard_cauchy standard_exponential standard_gamma
    standard_normal standard_t starmap starmap_async start start_pan starts_with startswith stat state_dict
    statistics std stem step sticky_edges stop str streamplot strftime strides string strip strip_chars
    strip_chars_end strip_chars_start strip_prefix strip_suffix strptime struct style sub subfigures subgraph
    submit subn suboffsets subplot_mosaic subplots subplots_adjust subs substitute subtract successors suffix
    suffixes sum sum_horizontal summary suptitle supxlabel supylabel swapaxes swapcase swaplevel
    symmetric_difference symmetric_difference_update table tables tail take tan tanh task_done tell text texts
    thumbnail tick_params ticklabel_format tight_layout time time_hi_version time_low time_mid timestamp
    timetuple timetz title to_array to_arrow to_batches to_bytes to_date to_datetime to_datetime64 to_decimal
    to_device to_dict to_dicts to_dummies to_eng_string to_flat_index to_frame to_init_repr to_integer
    to_integral to_integral_exact to_integral_value to_jax to_julian_date to_list to_lowercase to_map to_numpy
    to_pandas to_period to_physical to_pydatetime to_pydict to_pylist to_pytimedelta to_reader to_records
    to_series to_string to_struct to_struct_array to_tensor to_time to_timedelta64 to_timestamp to_titlecase
    to_torch to_uppercase to_xarray tobytes today tolist tomaxint toordinal top_k top_k_by toreadonly total
    total_days total_hours total_microseconds total_milliseconds total_minutes total_nanoseconds total_seconds
    trace train transform translate transpose triangular tricontour tricontourf tripcolor triplot truediv
    truncate truncdiv twinx twiny type types tz tz_convert tz_localize tzinfo tzname uncancel uniform
    unify_dictionaries union unique unique_counts unit unnest unpivot unsqueeze unstack update update_datalim
    update_from upper upper_bound upsample urn use_sticky_edges utcfromtimestamp utcnow utcoffset utctimetuple
    validate value value_counts values var variant version view viewLim violin violinplot vlines vonmises vstack
    wait wait_for waitforbuttonpress wald warn warning week weekday weekofyear weibull where width with_columns
    with_columns_seq with_metadata with_name with_row_index with_stem with_suffix wrap writable write
    writeheader writelines writerow writerows xaxis_date xaxis_inverted xcorr xor xpath xs yaxis_date
    yaxis_inverted year zero_grad zfill zip_with zipf zorder
    """.split()
)
